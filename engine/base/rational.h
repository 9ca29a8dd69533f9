// Exact fractions for frame rates and instants, so that an hour of frames never drifts from its sound.
#pragma once

#include <cstdint>
#include <numeric>

namespace wan {

/// numerator / denominator with a positive denominator; not reduced. Instants are in seconds, rates in frames a second.
struct Rational {
  int64_t numerator = 0, denominator = 1;

  double value() const { return double(numerator) / double(denominator); }
  /// The same value in lowest terms; a numerator of 0 stays as it is.
  Rational reduced() const {
    const int64_t divisor = numerator == 0 ? 1 : std::gcd(numerator, denominator);
    return {numerator / divisor, denominator / divisor};
  }
  /// Compares the values exactly, through 128-bit products.
  friend bool operator<(Rational a, Rational b) {
    return __int128(a.numerator) * b.denominator < __int128(b.numerator) * a.denominator;
  }
  friend bool operator<=(Rational a, Rational b) { return !(b < a); }
  friend bool operator==(Rational a, Rational b) { return !(a < b) && !(b < a); }
};

}  // namespace wan
