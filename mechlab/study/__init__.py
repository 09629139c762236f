"""Study: plan → missing runs → train → record → evidence → judge."""
