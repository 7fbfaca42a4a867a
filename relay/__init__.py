"""B Series Relay: carries typed calls from a ServiceNow ECC queue to internal appliances, and the answers back."""
