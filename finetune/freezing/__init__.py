"""Which layers stop training: rules decide, a mechanism acts."""
