"""An independent filter that behaves as robot_localization's EKF documents: what it does with the
parameters in config/robot_localization.yaml. Flat ground only; not the real node."""

import numpy as np

X, Y, YAW, VX, VY, VYAW, AX, AY = range(8)
ROWS_OF_15 = [0, 1, 5, 6, 7, 11, 12, 13]
"""Where the eight states of flat ground stand among robot_localization's fifteen."""


def flat_ground(values):
    """The part (8, 8) of a covariance given as a file holds it: 225 numbers, row by row."""
    return np.reshape(values, (15, 15))[np.ix_(ROWS_OF_15, ROWS_OF_15)].astype(float)


class FlatEkf:
    """Constant acceleration, any direction; noise grows with time; a measurement further off than
    its threshold in standard deviations is left out. `parameters`: those of an ekf_node."""

    def __init__(self, parameters):
        self.state = np.zeros(8)
        self.covariance = flat_ground(parameters['initial_estimate_covariance'])
        self.noise = flat_ground(parameters['process_noise_covariance'])
        self.fix_threshold = parameters['odom1_pose_rejection_threshold']
        self.yaw_threshold = parameters['pose0_rejection_threshold']

    def predict(self, dt_s):
        x = self.state
        cos, sin = np.cos(x[YAW]), np.sin(x[YAW])
        ahead = x[VX] * dt_s + x[AX] * dt_s**2 / 2
        left = x[VY] * dt_s + x[AY] * dt_s**2 / 2
        jacobian = np.eye(8)
        jacobian[X, [YAW, VX, VY]] = -sin * ahead - cos * left, cos * dt_s, -sin * dt_s
        jacobian[Y, [YAW, VX, VY]] = cos * ahead - sin * left, sin * dt_s, cos * dt_s
        jacobian[X, [AX, AY]] = np.array([cos, -sin]) * dt_s**2 / 2
        jacobian[Y, [AX, AY]] = np.array([sin, cos]) * dt_s**2 / 2
        jacobian[YAW, VYAW] = jacobian[VX, AX] = jacobian[VY, AY] = dt_s
        x[:2] += cos * ahead - sin * left, sin * ahead + cos * left
        x[YAW] += x[VYAW] * dt_s
        x[[VX, VY]] += x[[AX, AY]] * dt_s
        self.covariance = jacobian @ self.covariance @ jacobian.T + self.noise * dt_s

    def correct(self, rows, values, covariance, threshold=np.inf):
        """Take a measurement of some states; returns whether it was near enough to be taken."""
        off = np.asarray(values, float) - self.state[rows]
        if rows == [YAW]:
            off = (off + np.pi) % (2 * np.pi) - np.pi
        information = np.linalg.inv(self.covariance[np.ix_(rows, rows)] + covariance)
        if off @ information @ off >= threshold**2:
            return False
        gain = self.covariance[:, rows] @ information
        rest = np.eye(8)
        rest[:, rows] -= gain
        self.state += gain @ off
        self.covariance = rest @ self.covariance @ rest.T + gain @ covariance @ gain.T
        return True

    def wheels(self, speed_m_s, turn_rad_s, speed_std_m_s, turn_std_rad_s):
        """A twist, as `odom` gives it: a robot on wheels does not go sideways."""
        spread = np.diag([speed_std_m_s, speed_std_m_s, turn_std_rad_s]) ** 2
        self.correct([VX, VY, VYAW], [speed_m_s, 0.0, turn_rad_s], spread)

    def fix(self, east_m, north_m, covariance_m2):
        return self.correct([X, Y], [east_m, north_m], covariance_m2, self.fix_threshold)

    def heading(self, yaw_rad, std_rad):
        return self.correct([YAW], [yaw_rad], np.array([[std_rad**2]]), self.yaw_threshold)
