// Loops that are compiled for the vectors of newer x86 processors too; the one that the processor has is taken. All of
// them round alike.
#pragma once

// GCC 12 is the first to know these names, and the sanitiser's functions may not be called as early as the choice is made.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__SANITIZE_ADDRESS__)
#define WAN_CLONES __attribute__((flatten, target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WAN_CLONES
#endif

#ifdef __GNUC__  // loops as vectors; no fused products, which round once less
#pragma GCC optimize("O3", "fp-contract=off")
#endif
