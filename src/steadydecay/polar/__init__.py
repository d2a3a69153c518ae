"""The polar factor UVᵀ of matrices: Polar Express, which uses only matrix products, and an exact float64 SVD twin."""

from steadydecay.polar.coefficients import coefficients
from steadydecay.polar.exact import exact_polar
from steadydecay.polar.express import polar_express, polar_express_of_each

__all__ = ["coefficients", "exact_polar", "polar_express", "polar_express_of_each"]
