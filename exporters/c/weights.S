/* weights.bin as a part of the program. */
#if defined(__APPLE__)
    .section __TEXT,__const
    .globl _model_weights
    .p2align 6
_model_weights:
    .incbin "weights.bin"
#elif defined(_WIN32)
    .section .rdata,"dr"
    .globl model_weights
    .balign 64
model_weights:
    .incbin "weights.bin"
#else
#if defined(__arm__)
#define KIND(name) %name /* an @ begins a comment there */
#else
#define KIND(name) @name
#endif
#if defined(__wasm__)
    .section .rodata.model_weights,"",@
#else
    .section .rodata
#endif
    .globl model_weights
    .type model_weights,KIND(object)
    .p2align 6
model_weights:
    .incbin "weights.bin"
    .size model_weights, MODEL_BYTES
#if defined(__ELF__)
    .section .note.GNU-stack,"",KIND(progbits)
#endif
#endif
