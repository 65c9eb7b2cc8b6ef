"""Who may talk to the broker: certificates, passwords and the ACL, made on one computer and carried to where they belong."""

SOON_DAYS = 60
"""So long before its end a certificate is worth a word."""
