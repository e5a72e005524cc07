"""The command line: one module a verb, options in, one call, one result out."""
