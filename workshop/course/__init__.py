"""The tutorial: parts, variations, checks, exercises, progress, rehearsal, demos, the doctor, the report."""
