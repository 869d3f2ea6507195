"""How a record store that an older Glassline wrote is brought forward: Alembic's environment."""
