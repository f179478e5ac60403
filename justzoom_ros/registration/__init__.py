"""A view registered on a map: lift, features, correlation, likelihood. Works on any map."""
