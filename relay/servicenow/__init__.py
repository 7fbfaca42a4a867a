"""Edge: ServiceNow. Authentication, Table, Batch and Attachment API, queries, ECC payloads."""
