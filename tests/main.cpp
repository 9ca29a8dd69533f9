// The main of every test program: like gtest's, with the sums of the programs.
#include <gtest/gtest.h>

#include "kernels/op/pieces.h"

int main(int argc, char** argv) {
  wan::kernels::fix_order_of_sums();  // as the programs do
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
