"""What a cell of the matrix asks for and gives: request, result, accuracy, names of files; what all
rooms of inference agree on."""
