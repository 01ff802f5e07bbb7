"""Decoding untrusted photos: what comes out, and what stops at which limit."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from indexer.errors import DecoderClosed, PhotoRefused, PhotoUnreadable
from indexer.folders.content import content_hash, hash_file
from indexer.folders.walk import FoundFile
from indexer.photos import decode as decode_module
from indexer.photos.decode import Decoded, Decoder, limits_of, load_upright
from indexer.photos.picture import decode, decode_thumbnail
from indexer.settings import Settings

AWKWARD = Path(__file__).parents[2] / "data" / "awkward"
SIDE = 64
RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 220, 20)

# What undoes each EXIF orientation, to make files that need it.
UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture
def decoder(settings: Settings) -> Iterator[Decoder]:
    with Decoder(settings, SIDE, workers=1) as opened:
        yield opened


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Four colours, so that every turn and flip looks different."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def corners(pixels: NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """The nearest of the four colours at each corner, row by row."""
    height, width, _ = pixels.shape
    found: list[tuple[int, ...]] = []
    for y in (height // 4, height * 3 // 4):
        for x in (width // 4, width * 3 // 4):
            colours = (RED, GREEN, BLUE, YELLOW)
            far = [np.abs(pixels[y, x].astype(int) - colour).max() for colour in colours]
            assert min(far) < 25, pixels[y, x]
            found.append(colours[int(np.argmin(far))])
    return found


def decoded(data: bytes, settings: Settings) -> NDArray[np.uint8]:
    return decode(data, SIDE, limits_of(settings))[0]


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "size"),
    [
        *((format, (96, 64)) for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO")),
        ("JPEG", (640, 400)),  # large enough to shrink while it is decoded
        ("PNG", (640, 400)),
    ],
)
def test_all_eight_orientations_come_out_upright(
    settings: Settings, tmp_path: Path, format: str, size: tuple[int, int]
) -> None:
    for orientation, undo in UNDO.items():
        image = quarters(*size)
        stored = image if undo is None else image.transpose(undo)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = tmp_path / f"{orientation}.x"
        # As bytes: then HEIF turns it by its own transformations, as cameras write them.
        path.write_bytes(saved(stored, format, exif=exif.tobytes()))
        pixels, facts = decode(path.read_bytes(), SIDE, limits_of(settings))
        whole = load_upright(path, settings)
        small = decode_thumbnail(path.read_bytes(), 48, limits_of(settings))
        for seen in (pixels, np.asarray(whole), np.asarray(small)):
            assert corners(seen) == [RED, GREEN, BLUE, YELLOW], orientation
        assert (facts.width, facts.height) == size == whole.size
        assert small.size == (48, round(48 * size[1] / size[0]))
        assert facts.orientation == orientation


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_turned_photo_s_thumbnail_is_as_sharp_as_the_upright_one_s(
    settings: Settings, tmp_path: Path, format: str
) -> None:
    # Fine stripes along the short side: squeezed through the wrong axis, they melt into grey.
    stripes = np.zeros((720, 240, 3), dtype=np.uint8)
    stripes[np.arange(720) // 6 % 2 == 0] = 255
    stripes[:240, :, 0] = 0
    image = Image.fromarray(stripes)
    upright = None
    for orientation, undo in UNDO.items():
        stored = image if undo is None else image.transpose(undo)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path = tmp_path / f"{orientation}.x"
        path.write_bytes(saved(stored, format, quality=95, exif=exif.tobytes()))
        drawn = decode_thumbnail(path.read_bytes(), 360, limits_of(settings))
        small = np.asarray(drawn).astype(int)
        assert small.shape == (360, 120, 3)
        if upright is None:
            upright = small
        assert small[200:, :, 1].std() > 60, orientation
        assert np.abs(small - upright).mean() < 6, orientation


def test_every_awkward_file_is_decoded_or_has_a_reason(decoder: Decoder) -> None:
    refused = {
        "crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif": "is cut short",
        "crash-2020-10-test.tif": "is broken",
        "decompression_bomb.gif": "is broken: Image size (4364696535 pixels)",
        "decompression_bomb.ico": "is broken",
        "seek_too_large.tif": "is broken: Unable to seek",
        "badwidth.bmp": "is broken: Image size",
        "corrupted.heic": "is cut short",
    }
    files = [path for path in sorted(AWKWARD.iterdir()) if path.suffix != ".txt"]
    found = {each.key: each for each in decoder.decode((path.name, path) for path in files)}
    assert found.keys() == {path.name for path in files}
    for name, each in found.items():
        if name in refused:
            assert not each.ok and each.reason is not None
            assert each.reason.startswith(refused[name]), (name, each.reason)
        else:
            assert each.ok and each.facts is not None, (name, each.reason)
            assert each.pixels is not None and each.pixels.shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("name", "format", "size", "orientation"),
    [
        ("g4_orientation_6.tif", "TIFF", (590, 88), 6),
        ("hopper_orientation_7.jpg", "JPEG", (128, 128), 7),
        ("hopper_orientation_6.webp", "WEBP", (128, 128), 6),
        ("xmp_tags_orientation_exiftool.png", "PNG", (10, 10), 3),
        ("RGB_10__29x100.heif", "HEIF", (29, 100), 1),
        ("ignore_frame_size.mpo", "MPO", (64, 64), 1),
        ("hopper.avif", "AVIF", (128, 128), 1),
        ("pil123rgba.qoi", "QOI", (162, 150), 1),
    ],
)
def test_facts_of_awkward_files(
    settings: Settings, name: str, format: str, size: tuple[int, int], orientation: int
) -> None:
    _, facts = decode((AWKWARD / name).read_bytes(), SIDE, limits_of(settings))
    assert (facts.format, (facts.width, facts.height)) == (format, size)
    assert facts.orientation == orientation


def test_cmyk_16_bit_palette_and_grey_keep_their_colours(settings: Settings) -> None:
    image = quarters()
    for mode, format in (("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG")):
        seen = decoded(saved(image.convert(mode), format), settings)
        assert corners(seen) == [RED, GREEN, BLUE, YELLOW], (mode, format)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    for format in ("GIF", "PNG", "BMP", "TIFF"):
        assert corners(decoded(saved(palette, format), settings)) == [RED, GREEN, BLUE, YELLOW]
    deep = Image.fromarray(np.full((9, 9), 0x8000, dtype=np.uint16))
    for format in ("PNG", "TIFF"):
        assert np.abs(decoded(saved(deep, format), settings).astype(int) - 128).max() <= 1
    sensor = decoded((AWKWARD / "12bit.cropped.tif").read_bytes(), settings)
    assert sensor.max() >= 1  # 30 of 4095, not 30 of 65535


def test_transparent_parts_lie_on_white(settings: Settings) -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    for format in ("PNG", "WEBP", "TIFF", "HEIF", "AVIF"):
        assert decoded(saved(clear, format), settings).min() >= 250, format
    keyed = Image.new("RGB", (8, 8), (10, 20, 30))
    assert decoded(saved(keyed, "PNG", transparency=(10, 20, 30)), settings).min() == 255


def test_of_an_animated_picture_the_first_frame_counts(settings: Settings) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    for format in ("GIF", "WEBP", "PNG", "TIFF", "AVIF", "MPO"):
        data = saved(frames[0], format, save_all=True, append_images=frames[1:])
        seen = decoded(data, settings)
        assert np.abs(seen.astype(int) - np.array(RED)).max() < 25, format


def test_content_decides_whatever_the_file_is_called(decoder: Decoder, tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"caf\xe9 \xff.heic")
    named.write_bytes(saved(quarters(), "JPEG"))
    each = decoder.decode_one(named)
    assert each.facts is not None and each.facts.format == "JPEG"
    assert each.path == os.fsencode(named)
    assert each.content_hash == content_hash(named.read_bytes())
    status = named.stat()
    found = FoundFile(os.fsencode(named.name), status.st_size, status.st_mtime_ns, 0)
    assert hash_file(os.fsencode(tmp_path), found, 10**9).content_hash == each.content_hash


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def empty_png(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_57_bytes_that_claim_150_megapixels_are_refused_before_any_pixel(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    bomb = empty_png(15_000, 10_000)
    assert len(bomb) == 57
    with pytest.raises(PhotoRefused, match="claims 150 megapixels"):
        decode(bomb, SIDE, limits_of(settings))
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(PhotoRefused, match=r"bomb\.png claims 150 megapixels"):
        load_upright(tmp_path / "bomb.png", settings)
    each = decoder.decode_one(tmp_path / "bomb.png")
    assert each.reason is not None and each.reason.startswith("claims 150 megapixels")


def test_a_few_bytes_that_claim_many_pixels_are_refused_within_the_limit(
    settings: Settings,
) -> None:
    with pytest.raises(PhotoRefused, match="claims 100 megapixels in 57 bytes"):
        decode(empty_png(10_000, 10_000), SIDE, limits_of(settings))
    header = b"P6 9000 9000 255\n"
    with pytest.raises(PhotoRefused, match="claims 81 megapixels in 18 bytes"):
        decode(header + b"x", SIDE, limits_of(settings))


def test_a_large_jpeg_shrinks_while_it_is_decoded_and_a_progressive_one_does_not(
    settings: Settings,
) -> None:
    tight = limits_of(settings.model_copy(update={"max_pixels_mp": 1.0}))
    image = quarters(1600, 1200)
    assert corners(decode(saved(image, "JPEG"), SIDE, tight)[0]) == [RED, GREEN, BLUE, YELLOW]
    for data in (saved(image, "JPEG", progressive=True), saved(image, "PNG")):
        with pytest.raises(PhotoRefused, match="claims 2 megapixels"):
            decode(data, SIDE, tight)


def test_shrinking_early_changes_the_pixels_little(settings: Settings) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.BICUBIC)
    for data in (saved(image, "JPEG", quality=95), saved(image, "PNG")):
        whole = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        wanted = np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=int)
        assert np.abs(decoded(data, settings).astype(int) - wanted).mean() < 2.0


def test_what_is_no_readable_file_has_a_reason(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    names = ("empty.jpg", "folder.jpg", "pipe.jpg", "text.jpg", "absent.jpg")
    reasons = {each.key: each.reason for each in decoder.decode((n, tmp_path / n) for n in names)}
    assert reasons == {
        "empty.jpg": "is empty",
        "folder.jpg": "is no regular file",
        "pipe.jpg": "is no regular file",
        "text.jpg": "is in no known image format, or its header is broken",
        "absent.jpg": "cannot be opened: No such file or directory",
    }
    with pytest.raises(PhotoUnreadable, match=r"empty\.jpg is empty"):
        load_upright(tmp_path / "empty.jpg", settings)


def test_a_file_over_the_limit_of_bytes_is_not_read(settings: Settings, tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2 * 2**20)
    with (
        Decoder(settings.model_copy(update={"max_file_mib": 1}), SIDE, workers=1) as decoder,
    ):
        each = decoder.decode_one(tmp_path / "huge.jpg")
    assert each.reason == "has 2 MiB, the limit is 1 MiB (REFERENT_MAX_FILE_MIB)"
    assert each.content_hash is None


def child() -> psutil.Process:
    name = "indexer.photos.decoding_process"
    (found,) = [each for each in psutil.Process().children() if name in each.cmdline()]
    return found


def test_a_decoder_that_hangs_is_replaced_and_its_photo_reported(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(), "PNG"))
    quick = settings.model_copy(update={"decode_timeout_s": 2.0})
    with Decoder(quick, SIDE, workers=1) as decoder:
        assert decoder.decode_one(tmp_path / "a.png").ok
        hung = child()
        hung.send_signal(signal.SIGSTOP)
        stuck = decoder.decode_one(tmp_path / "a.png")
        assert stuck.reason == "takes longer than 2 s to decode (REFERENT_DECODE_TIMEOUT_S)"
        assert decoder.decode_one(tmp_path / "a.png").ok
        assert not hung.is_running() and child().pid != hung.pid


def test_waiting_for_a_processor_is_not_held_against_a_photo(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(), "PNG"))
    # As on a machine so busy that the process wants to run and hardly ever does.
    monkeypatch.setattr(decode_module, "_processor_time", lambda pid: (1.0, True))
    monkeypatch.setattr(decode_module, "_BUSY_FACTOR", 100)
    quick = settings.model_copy(update={"decode_timeout_s": 0.5})
    with Decoder(quick, SIDE, workers=1) as decoder:
        assert decoder.decode_one(tmp_path / "a.png").ok
        held_up = child()
        held_up.send_signal(signal.SIGSTOP)
        threading.Timer(1.5, held_up.send_signal, (signal.SIGCONT,)).start()
        assert decoder.decode_one(tmp_path / "a.png").ok
        # There is an end to it all the same.
        monkeypatch.setattr(decode_module, "_BUSY_FACTOR", 2)
        held_up.send_signal(signal.SIGSTOP)
        assert "longer than" in str(decoder.decode_one(tmp_path / "a.png").reason)


def test_decoders_stand_back_behind_the_network(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(), "PNG"))
    with Decoder(settings, SIDE, workers=1) as decoder:
        assert decoder.decode_one(tmp_path / "a.png").ok
        assert child().nice() > psutil.Process().nice() or psutil.Process().nice() == 19


def test_a_decoder_that_crashes_takes_only_its_photo_with_it(
    decoder: Decoder, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(saved(quarters(), "PNG"))
    assert decoder.decode_one(tmp_path / "a.png").ok
    victim = child()
    victim.send_signal(signal.SIGSTOP)

    def photos() -> Iterator[tuple[int, Path]]:
        yield 0, tmp_path / "a.png"
        victim.kill()
        yield 1, tmp_path / "a.png"
        yield 2, tmp_path / "a.png"

    found = sorted(decoder.decode(photos()), key=lambda each: each.key)
    # Killed with the first photo in hand, or just before.
    assert found[0].ok or found[0].reason == "crashes its decoder (SIGKILL)"
    assert found[1].ok and found[2].ok


def test_a_photo_that_needs_too_much_memory_is_refused(settings: Settings, tmp_path: Path) -> None:
    Image.new("RGB", (6000, 6000), RED).save(tmp_path / "big.png", compress_level=1)
    (tmp_path / "a.png").write_bytes(saved(quarters(), "PNG"))
    tight = settings.model_copy(update={"decode_memory_mib": 64})
    with Decoder(tight, SIDE, workers=1) as decoder:
        each = decoder.decode_one(tmp_path / "big.png")
        assert each.reason is not None and "REFERENT_DECODE_MEMORY_MIB" in each.reason
        assert decoder.decode_one(tmp_path / "a.png").ok


def test_each_photo_comes_out_once_and_as_if_it_were_alone(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    drawn = []
    for number in range(12):
        path = tmp_path / f"{number}.jpg"
        quarters(60 + 20 * number, 200 - 10 * number).save(path)

    def photos() -> Iterator[tuple[int, Path]]:
        for number in range(50):
            drawn.append(number)
            yield number, tmp_path / f"{number % 12}.jpg"

    alone = {n: decoder.decode_one(tmp_path / f"{n}.jpg").pixels for n in range(12)}
    keys = []
    with Decoder(settings, SIDE, workers=2) as many:
        for each in many.decode(photos(), ahead=4):
            keys.append(each.key)
            assert len(drawn) - len(keys) < 4  # drawn no further ahead than asked
            np.testing.assert_array_equal(each.pixels, alone[each.key % 12])
    assert sorted(keys) == list(range(50))


def test_leaving_early_and_closing_end_the_processes(settings: Settings, tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    decoder = Decoder(settings, SIDE, workers=2)
    for _ in decoder.decode((number, tmp_path / "a.png") for number in range(100)):
        break
    assert decoder.decode_one(tmp_path / "a.png").ok
    decoder.close()
    assert [p for p in psutil.Process().children() if "decoding_process" in str(p.cmdline())] == []
    with pytest.raises(DecoderClosed):
        decoder.decode_one(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("format", "options"), [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {})]
)
def test_picture_that_is_cut_short_is_shown_as_far_as_it_goes_and_says_so(
    settings: Settings, tmp_path: Path, format: str, options: dict[str, bool]
) -> None:
    limits = limits_of(settings)
    data = saved(quarters(640, 480), format, **options)
    whole, facts = decode(data, SIDE, limits)
    assert facts.note is None
    cut = data[:-20] if format == "JPEG" else data[: len(data) * 4 // 5]
    pixels, facts = decode(cut, SIDE, limits)
    assert facts.note is not None and "cut short" in facts.note
    assert (facts.width, facts.height) == (640, 480)
    difference = np.abs(pixels.astype(int) - whole).max(axis=(1, 2))
    assert (difference[: SIDE // 2] < 8).all()  # the upper half is there, whatever lies below
    path = tmp_path / "cut.x"
    path.write_bytes(cut)
    assert load_upright(path, settings).size == (640, 480)
    assert decode_thumbnail(path.read_bytes(), 48, limits_of(settings)).size == (48, 36)
    for garbage in (data[:40], data[:12] + b"nothing" * 99, b"\xff\xd8" + b"x" * 999):
        with pytest.raises(PhotoUnreadable):
            decode(garbage, SIDE, limits)


def test_closing_answers_everyone_who_waits_and_blames_no_photo(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    Image.fromarray(noise).save(path, compress_level=1)
    decoder = Decoder(settings, SIDE, workers=1)
    started = threading.Barrier(3)
    ended: list[tuple[str, list[str | None]]] = []

    def wait() -> None:
        reasons: list[str | None] = []
        try:
            for number, one in enumerate(decoder.decode(((n, path) for n in range(200)), ahead=99)):
                reasons.append(one.reason)
                if number == 0:
                    started.wait()
        except DecoderClosed as error:
            ended.append((str(error), reasons))

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    started.wait()
    decoder.close()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 2
    assert all("this process ends" in said for said, _ in ended)
    assert {reason for _, reasons in ended for reason in reasons} == {None}
    with pytest.raises(DecoderClosed):
        decoder.decode_one(path)


def test_decoding_processes_import_neither_torch_nor_the_database() -> None:
    heavy = ("torch", "sqlalchemy", "pydantic", "faiss", "transformers", "cv2")
    code = "import indexer.photos.decoding_process, sys; "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def with_exif(values: dict[int, object], taken: dict[int, object], place: dict) -> bytes:
    exif = Image.Exif()
    exif.update(values)
    exif.get_ifd(ExifTags.IFD.Exif).update(taken)
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(place)
    return saved(quarters(), "JPEG", exif=exif)


def test_when_where_and_with_what_a_photo_was_taken(settings: Settings) -> None:
    data = with_exif(
        {271: "NIKON CORPORATION", 272: "NIKON D90\0", 306: "2020:01:01 00:00:00"},
        {36867: "2019:07:14 21:05:09", 36881: "-03:30"},
        {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 40.0)},
    )
    _, facts = decode(data, SIDE, limits_of(settings))
    assert facts.taken_at == datetime(2019, 7, 14, 21, 5, 9)
    assert (facts.taken_offset_min, facts.taken_source) == (-210, "camera")
    assert facts.camera == "NIKON CORPORATION NIKON D90"
    assert facts.lat == pytest.approx(-33.86) and facts.lon == pytest.approx(151.2111, abs=1e-4)


@pytest.mark.parametrize(
    ("taken", "place"),
    [
        ({36867: "0000:00:00 00:00:00", 36881: "+99:00"}, {1: "N", 2: (0.0, 0.0, 0.0)}),
        ({36867: "yesterday"}, {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (1.0, 1.0, 1.0)}),
        ({36867: "2023:02:30 12:00:00"}, {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}),
    ],
)
def test_impossible_times_and_places_are_left_out(
    settings: Settings, taken: dict[int, object], place: dict
) -> None:
    _, facts = decode(with_exif({}, taken, place), SIDE, limits_of(settings))
    assert (facts.taken_at, facts.taken_offset_min) == (None, None)
    assert (facts.lat, facts.lon, facts.camera) == (None, None, None)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_spoil_the_picture(settings: Settings) -> None:
    data = saved(quarters(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x9a" * 60)
    pixels, facts = decode(data, SIDE, limits_of(settings))
    assert corners(pixels) == [RED, GREEN, BLUE, YELLOW]
    assert facts.orientation == 1 and facts.taken_at is None
    _, facts = decode((AWKWARD / "empty_gps_ifd.jpg").read_bytes(), SIDE, limits_of(settings))
    assert (facts.lat, facts.lon) == (None, None)


def test_an_answer_tells_its_key_and_path(decoder: Decoder, tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    (each,) = decoder.decode([("key", tmp_path / "a.png")])
    assert isinstance(each, Decoded)
    assert (each.key, each.path, each.reason) == ("key", os.fsencode(tmp_path / "a.png"), None)
