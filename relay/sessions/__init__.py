"""Sessions come home: what an appliance posts and what it lists becomes records of ServiceNow."""
