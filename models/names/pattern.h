// Tables that translate the names of tensors: one row for each module, as text.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wan::names {

/// Paths of modules, e.g. "blocks.*.attn1.to_q" and "blocks.*.self_attn.q". A `*` is a number; the numbers of `from` stand
/// in `to` in the same order. A row holds for the path itself and for all that lies under it: ".weight", ".bias", scales.
struct Row {
  std::string_view from, to;
};
using Table = std::span<const Row>;

/// Where a path matches the beginning of a name.
struct Match {
  std::vector<std::string_view> numbers;  // that the `*` stand for
  std::string_view rest;                  // of the name: empty, or from the next "." on
};
/// Compares segment by segment. Nothing where `path` is no beginning of `name`.
std::optional<Match> match(std::string_view name, std::string_view path);

/// `name` by the first row of `table` that matches it; as it is where none does.
std::string translate(std::string_view name, Table table);

}  // namespace wan::names
