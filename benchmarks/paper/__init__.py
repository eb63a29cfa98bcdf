"""What the paper claims, and what becomes of each claim: statements, the tests that decide them, evidence, verdicts, report."""
