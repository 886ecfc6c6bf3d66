"""What a segment's audio track says: whether it is there, how loud it is, whether it is silent or clipped. No words, no music."""
