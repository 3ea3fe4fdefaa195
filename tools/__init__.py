"""Programs that build and test the project. They are not part of the installed package."""
