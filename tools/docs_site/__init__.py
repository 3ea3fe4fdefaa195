"""What MkDocs does not do itself to build the site of the documentation: `make docs`."""
