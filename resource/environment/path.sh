# Sourced by colcon's package.sh, which has the function and the variable.
_colcon_prepend_unique_value PATH "$COLCON_CURRENT_PREFIX/share/justzoom_ros/bin"
