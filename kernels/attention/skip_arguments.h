// The rule of Skip-Softmax as an argument of the kernels: shared by the bindings and the tests.
#pragma once

#include "kernels/attention/launch.h"
#include "kernels/attention/skip_softmax.h"

namespace wan::kernels {

/// Nothing is left out where `skip` is null; else all blocks of the attention `a` are added to it, and the kernel will
/// count those it leaves out.
template <typename Arguments>
SkipArguments skip_arguments(SkipSoftmax* skip, Instructions instructions, const Arguments& a) {
  if (!skip) return {};
  static_assert(sizeof(unsigned long long) == sizeof(int64_t));
  skip->add_all(count_blocks(skip_block(instructions), a.batch, a.heads, a.queries, a.keys));
  return {skip->below(), reinterpret_cast<unsigned long long*>(skip->counter().template data_ptr<int64_t>())};
}

}  // namespace wan::kernels
