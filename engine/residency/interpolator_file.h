// Which file holds the weights of a request's interpolator.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "engine/residency/parts.h"

namespace wan {

/// A published file of weights, as it is found in folders.
struct PublishedInterpolator {
  const char* model;  // film | rife
  const char* name;
};
/// Those that folders are looked through for, the first that is there being taken; docs/interpolation.md lists them with
/// where they are published.
std::span<const PublishedInterpolator> published_interpolators();

struct InterpolatorSearch {
  std::string model;                 // film | rife
  std::filesystem::path named = {};  // file or folder that the request or a set names; empty: none
  std::string rule = {};             // what named it: "--interpolator", "set my-i2v"
  std::filesystem::path root = {};   // the model's folder, in which it is looked for where none is named; may be empty
  bool is_all = false;               // without it there is nothing to do, and no message says how to do without
};

/// The file: the named one, or of a folder and its folders interpolator and train_log the first of the names above. Reads
/// nothing of it. Throws ModelError where there is none, with what to download, how large it is and where it is published.
InterpolatorPart find_interpolator(const InterpolatorSearch& search);

/// What recognise() calls the weights of "film" or "rife".
const char* interpolator_kind(const std::string& model);

}  // namespace wan
