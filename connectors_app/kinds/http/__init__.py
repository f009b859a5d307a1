"""Any program that can POST JSON: bearer token, signature, or both."""
