"""The Grafana dashboards, rendered from the signal catalog and the rule table, so that names, units and limits cannot drift."""
