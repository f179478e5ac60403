"""Teaching registration what streets look like from above."""
