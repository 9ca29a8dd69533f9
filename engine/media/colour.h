// What a picture states of its colours, and the way from there to RGB of BT.709. Included by this folder's .cpp files
// only.
#pragma once

#include <stdexcept>
#include <string>

#include "engine/media/av.h"
#include "engine/media/filter_graph.h"

namespace wan::av {

/// Colours that cannot be converted; the text says why, and the way out.
struct UnreadableColours : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class PictureKind { Image, Video };

struct Colours {
  int matrix = AVCOL_SPC_BT709;  // for libswscale
  std::string filters = {};      // make 8-bit planar RGB, where libswscale alone would give wrong colours
  double peak_nits = 0;          // where HDR is tone-mapped: the brightest light
  std::string told = {};         // what is assumed or converted; empty: nothing
  std::string change = {};       // how to have it otherwise
};

/// The way of one picture. Where a video does not state its matrix, it is BT.709 from 1280 columns or above 576 rows, and
/// BT.601 else, as players do; an image's is BT.601 (JPEG). HDR (PQ, HLG) and wide gamuts of videos are converted to
/// BT.709, light of up to `peak_nits` compressed (0: what the picture states, else 1000). Throws UnreadableColours.
Colours colours_of(const AVFrame& picture, PictureKind kind, double peak_nits = 0,
                   bool (*has)(const std::string& filter) = has_filter);

/// Whether 0 is black and the greatest value white.
bool full_range(const AVFrame& picture);

/// The brightest light in nits by side data that mastering left: `light` (AVContentLightMetadata) and `display`
/// (AVMasteringDisplayMetadata), both may be null; 0 where they say nothing.
double stated_peak(const void* light, const void* display);

}  // namespace wan::av
