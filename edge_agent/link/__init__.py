"""link: owns the spool, the broker connection and the commands' paperwork; it has no devices."""
