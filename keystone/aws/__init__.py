"""What the program says to AWS, as values: names, rights, what pools' machines are told. No resource is made here."""
