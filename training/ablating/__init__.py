"""The paper's tables, trained and measured under equal conditions."""
