"""Connect a person's account upstream to a gateway: a link, session binding, consent, and the vault."""
