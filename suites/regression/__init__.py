"""One scenario for each historic defect of SCST that can be staged, named by its commit."""
