"""What a segment's packets say of its video, without decoding a picture."""
