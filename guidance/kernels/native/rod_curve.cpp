// Low curves fitted so that outliers do not pull; `kernels/rod_fit_reference.py` specifies them.
#include <algorithm>
#include <cmath>

#include "rod_parts.hpp"

namespace guidance {
namespace {

constexpr double kLeastSigma = 0.04;  // px
constexpr double kStraight = 0.5;     // px: a bend smaller than this is not told from noise
constexpr double kBendGain = 1.6;     // by which a curve must fit better than a line

constexpr int kRounds = 4;
constexpr double kOutlier = 2.0;  // of the median miss: from there on a point counts less

struct FitRequest {
  const double* z;       // (count,) in [-1, 1]
  const double* y;       // (count,)
  const double* weight;  // (count,)
  std::size_t count;
  std::size_t degree;  // 1 to 3
  double least;        // a miss up to this is no outlier
};

double slope_in_z(const std::array<double, 4>& c, double z) { return c[1] + z * (2.0 * c[2] + z * 3.0 * c[3]); }

// Weighted least squares with outliers weighed down, lowest power first.
std::array<double, 4> robust_polynomial(const FitRequest& request, double* misses) {
  const std::size_t count = request.count, terms = request.degree + 1;
  std::array<double, 4> found{};
  std::vector<double> share(request.weight, request.weight + count), sizes(count);
  for (int round = 0; round < kRounds; ++round) {
    // Moments of z make the normal equations: element (i, j) is the sum of share * z^(i + j).
    std::array<double, 7> moments{};
    std::array<double, 4> right{};
    for (std::size_t n = 0; n < count; ++n) {
      double power = share[n];
      for (std::size_t k = 0; k < 2 * terms - 1; ++k) {
        moments[k] += power;
        if (k < terms) right[k] += power * request.y[n];
        power *= request.z[n];
      }
    }
    double trace = 0.0;
    for (std::size_t i = 0; i < terms; ++i) trace += moments[2 * i];
    std::array<std::array<double, 4>, 4> lower{};  // Cholesky
    for (std::size_t i = 0; i < terms; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = moments[i + j] + (i == j ? 1e-9 * trace + 1e-12 : 0.0);
        for (std::size_t k = 0; k < j; ++k) sum -= lower[i][k] * lower[j][k];
        lower[i][j] = i == j ? std::sqrt(std::max(sum, 1e-300)) : sum / lower[j][j];
      }
    for (std::size_t i = 0; i < terms; ++i) {
      for (std::size_t k = 0; k < i; ++k) right[i] -= lower[i][k] * right[k];
      right[i] /= lower[i][i];
    }
    for (std::size_t i = terms; i-- > 0;) {
      for (std::size_t k = i + 1; k < terms; ++k) right[i] -= lower[k][i] * found[k];
      found[i] = right[i] / lower[i][i];
    }
    for (std::size_t n = 0; n < count; ++n) {
      const double z = request.z[n];
      misses[n] = request.y[n] - (found[0] + z * (found[1] + z * (found[2] + z * found[3])));
    }
    if (round + 1 == kRounds) break;
    for (std::size_t n = 0; n < count; ++n) sizes[n] = std::fabs(misses[n]);
    const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>(count / 2);
    std::nth_element(sizes.begin(), middle, sizes.end());
    const double limit = std::max(kOutlier * *middle, request.least);
    for (std::size_t n = 0; n < count; ++n) {
      const double part = std::min(1.0, limit / std::max(std::fabs(misses[n]), 1e-12));
      share[n] = request.weight[n] * part * part;
    }
  }
  return found;
}

}  // namespace

double RodCurve::y(double x) const {
  const double z = (x - middle) / half, held = straight() ? z : std::clamp(z, -1.0, 1.0);
  const auto& c = coefficients;
  return c[0] + held * (c[1] + held * (c[2] + held * c[3])) + slope_in_z(c, held) * (z - held);
}

double RodCurve::slope(double x) const {
  return slope_in_z(coefficients, std::clamp((x - middle) / half, -1.0, 1.0)) / half;
}

double RodCurve::sharpest() const {
  return (2.0 * std::fabs(coefficients[2]) + 6.0 * std::fabs(coefficients[3])) / (half * half);
}

double middle_of(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double spread_of(const std::vector<double>& misses) {
  std::vector<double> sizes(misses.size());
  std::transform(misses.begin(), misses.end(), sizes.begin(), [](double miss) { return std::fabs(miss); });
  return 1.4826 * middle_of(sizes) + 1e-6;
}

RodCurve robust_fit(const std::vector<double>& x, const std::vector<double>& y, const std::vector<double>& weight,
                    std::size_t degree, double least, std::vector<double>* misses) {
  const std::size_t count = x.size();
  degree = std::max<std::size_t>(std::min(degree, count > 2 ? count - 2 : 0), 1);
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  RodCurve curve;
  curve.terms = degree + 1;
  curve.middle = 0.5 * (*low + *high);
  curve.half = std::max(0.5 * (*high - *low), 0.5);
  std::vector<double> z(count);
  for (std::size_t n = 0; n < count; ++n) z[n] = (x[n] - curve.middle) / curve.half;
  misses->resize(count);
  curve.coefficients = robust_polynomial({z.data(), y.data(), weight.data(), count, degree, least}, misses->data());
  return curve;
}

Fit line_or_curve(const std::vector<double>& x, const std::vector<double>& y, const std::vector<double>& weight,
                  double width) {
  std::vector<double> misses;
  const RodCurve line = robust_fit(x, y, weight, 1, 0.02 * width, &misses);
  const double straight = spread_of(misses), count = static_cast<double>(x.size());
  if (x.size() >= 6) {
    const RodCurve curve = robust_fit(x, y, weight, x.size() >= 12 ? 3 : 2, 0.02 * width, &misses);
    const double curved = spread_of(misses);
    double low = curve.y(x[0]) - line.y(x[0]), high = low;
    for (const double place : x) {
      const double bow = curve.y(place) - line.y(place);
      low = std::min(low, bow);
      high = std::max(high, bow);
    }
    if (straight > kBendGain * curved && high - low > kStraight)
      return {curve, std::max(curved * std::sqrt(4.0 / count), kLeastSigma)};
  }
  return {line, std::max(straight * std::sqrt(2.0 / count), kLeastSigma)};
}

}  // namespace guidance
