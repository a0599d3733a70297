"""The service, the client and the command line: where real objects are assembled."""
