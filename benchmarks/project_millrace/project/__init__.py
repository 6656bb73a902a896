"""The measured project on Millrace."""
