"""Many runs: a ledger of jobs and an executor that starts what is missing."""
