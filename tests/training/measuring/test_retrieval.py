"""Album retrieval figures against counts made by hand."""

import numpy as np
import pytest

from training.measuring import retrieval


def test_returned_photos_are_counted_over_scored_pairs_only() -> None:
    truth = np.array([[1, 1, 0, 0, -1]], np.int8)
    accepted = np.array([[True, False, True, False, True]])
    counted = retrieval.count_returned(accepted, truth)
    assert (counted.hits, counted.false, counted.missed, counted.pairs) == (1, 1, 1, 4)
    assert counted.figures() == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "false_photo_rate": 0.5,
    }


def test_figures_of_an_expression_that_matches_and_returns_nothing_are_undefined() -> None:
    figures = retrieval.count_returned(np.zeros((1, 3), bool), np.zeros((1, 3), np.int8)).figures()
    assert figures == {"precision": None, "recall": None, "f1": None, "false_photo_rate": 0.0}


def test_average_precision_is_the_mean_precision_at_the_ranks_of_the_matches() -> None:
    truth = np.array([0, 1, 0, 1, -1], np.int8)
    score = np.array([0.7, 0.9, 0.1, 0.5, 1.0])
    assert retrieval.average_precision(score, truth) == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert retrieval.average_precision(score, np.zeros(5, np.int8)) is None


def test_average_precision_of_all_equal_scores_is_the_prevalence_in_any_order() -> None:
    truth = np.array([1, 0, 0, 0, 1, 0, 0, 0], np.int8)
    for order in (slice(None), slice(None, None, -1)):
        assert retrieval.average_precision(np.ones(8), truth[order]) == pytest.approx(0.25)


def test_mean_average_precision_leaves_out_expressions_without_a_match() -> None:
    truth = np.array([[1, 0], [0, 0], [0, 1]], np.int8)
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]])
    assert retrieval.mean_average_precision(scores, truth) == (pytest.approx(0.75), 2)
    assert retrieval.mean_average_precision(scores[1:2], truth[1:2]) == (None, 0)


def test_figures_by_kind_come_from_that_kinds_expressions() -> None:
    truth = np.array([[1, 0, 0, 0], [1, 1, -1, 0]], np.int8)
    accepted = np.array([[True, False, False, False], [True, False, True, True]])
    scores = accepted.astype(float)
    figures = retrieval.retrieval_figures(scores, accepted, truth, ["category", "relation"])
    assert figures["f1_by_kind"] == {"category": 1.0, "relation": 0.5}
    assert figures["map_by_kind"]["category"] == 1.0
    assert figures["ambiguous"] == 1 and figures["expressions"] == 2 and figures["photos"] == 4
    assert figures["median_prevalence"] == pytest.approx((1 / 4 + 2 / 3) / 2)


@pytest.mark.parametrize(("k", "recall"), [(1, 1.0), (2, 0.5), (3, 2 / 3), (4, 2 / 3), (99, 1.0)])
def test_prefilter_recall_compares_the_top_k_with_what_fits_into_it(k: int, recall: float) -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    accepted = np.array([True, False, True, False, True])
    assert retrieval.recall_at_k(scores, accepted, k) == pytest.approx(recall)


def test_prefilter_recall_is_averaged_over_expressions_that_match_something() -> None:
    scores = np.tile(np.arange(300.0), (3, 1))
    accepted = np.zeros((3, 300), bool)
    accepted[0, 299] = accepted[1, 0] = True
    table = retrieval.prefilter_recall(scores, accepted, ["category", "relation", "relation"])
    assert set(table) == {"all", "category", "relation"}
    assert set(table["all"]) == {"1%", "2%", "5%", "10%", "25%", "200"}
    assert table["category"]["1%"] == 1.0 and table["relation"]["200"] == 0.0
    assert table["all"]["25%"] == 0.5
    assert retrieval.recall_at_k(scores[2], accepted[2], 5) is None
