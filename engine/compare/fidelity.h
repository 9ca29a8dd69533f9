// How near a frame is to another by their pixels: mean squared error, PSNR and SSIM. All are of RGB in 8 bits, the three
// channels alike, in float64; the same bytes with any number of threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace wan {

/// Sides of frames that SSIM takes are from here on: that of its window.
constexpr int64_t kSsimWindow = 11;

/// The mean of the squared differences of all values. Frames are uint8 [H, W, 3] on the CPU, contiguous, of one size;
/// throws c10::Error for others.
double mean_squared_error(const at::Tensor& a, const at::Tensor& b);

/// Peak signal-to-noise ratio in dB, of values up to 255: 10 log10(255^2 / error); infinite where the error is 0.
double psnr(double mean_squared_error);

/// Structural similarity, 1 for equal frames: the mean over the channels and over the pixels around which the whole window
/// of 11 x 11 lies in the frame. The window is a Gaussian of sigma 1.5 with the sum 1, K1 = 0.01, K2 = 0.03, L = 255, variances
/// are those of the population. Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility
/// to Structural Similarity, 2004. Takes frames as mean_squared_error, with sides from kSsimWindow on.
double ssim(const at::Tensor& a, const at::Tensor& b);

}  // namespace wan
