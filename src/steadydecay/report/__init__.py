"""Tables, pictures and pages for people to look at, made from run logs."""
