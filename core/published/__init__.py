"""What others have published: tables as they printed them, their sources, and what they call what we name otherwise."""
