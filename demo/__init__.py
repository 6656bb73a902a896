"""The demonstration project: what an application on Millrace looks like."""
