"""A room: a seat for each attendee on one cluster, which a facilitator creates and removes."""
