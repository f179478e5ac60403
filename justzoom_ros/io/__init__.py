"""Images, messages and recordings in and out. No rclpy in here: whatever has the fields of a
message will do."""
