"""Who may talk to the broker: certificates, passwords and the ACL, made on one computer and carried to where they belong."""
