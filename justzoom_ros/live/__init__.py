"""What a running system needs beside ROS: the newest frame first, messages in their order, how it
goes."""
