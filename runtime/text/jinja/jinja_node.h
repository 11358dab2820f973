/* runtime/text/jinja/jinja_node.h - what a template is once it was read: a tree, in the memory of
 * its template, never changed by a run. */
#ifndef SL_JINJA_NODE_H
#define SL_JINJA_NODE_H

#include "runtime/text/jinja/jinja_value.h"

typedef enum {
    /* expressions */
    SL_JINJA_CONSTANT,  /* constant */
    SL_JINJA_NAME,      /* name */
    SL_JINJA_MAKE_LIST, /* items; operation: the kind, list or tuple */
    SL_JINJA_MAKE_DICT, /* items: key, value, key, value ... */
    SL_JINJA_ATTRIBUTE, /* first.name */
    SL_JINJA_ITEM,      /* first[second] */
    SL_JINJA_SLICE,     /* first[second:third:fourth], each of the three may be NULL */
    SL_JINJA_CALL,      /* first(items) */
    SL_JINJA_KEYWORD,   /* an item of a call: name=first */
    SL_JINJA_FILTER,    /* first | name(items); first is NULL in a filter block */
    SL_JINJA_TEST,      /* first is name(items) */
    SL_JINJA_NOT,       /* not first */
    SL_JINJA_NEGATE,    /* -first */
    SL_JINJA_PLUS,      /* +first */
    SL_JINJA_BINARY,    /* first, and items: operands, from the left */
    SL_JINJA_COMPARE,   /* first, and items: operands */
    SL_JINJA_OPERAND,   /* of these: operation first */
    SL_JINJA_AND,       /* items, with "and" between */
    SL_JINJA_OR,        /* items, with "or" between */
    SL_JINJA_CONCAT,    /* items, with ~ between */
    SL_JINJA_CONDITION, /* first if second else third, which may be NULL */
    /* statements */
    SL_JINJA_DATA,         /* name is text to be printed as it is */
    SL_JINJA_PRINT,        /* {{ first }} */
    SL_JINJA_IF,           /* if first: body, elif: second (an if), else: other */
    SL_JINJA_FOR,          /* for first in second if third: body, else: other */
    SL_JINJA_SET,          /* first (a target) = second */
    SL_JINJA_SET_BLOCK,    /* first, second (filters, may be NULL), body */
    SL_JINJA_MACRO_BLOCK,  /* name, items: parameters, body; operation: uses */
    SL_JINJA_CALL_BLOCK,   /* first is the call; third is the macro that is its caller */
    SL_JINJA_FILTER_BLOCK, /* first: filters, body */
    SL_JINJA_WITH,         /* items: sets, body */
    SL_JINJA_BODY,         /* body alone: generation */
    SL_JINJA_BREAK,
    SL_JINJA_CONTINUE,
    SL_JINJA_ATTRIBUTE_TARGET, /* of set: name.first, where first is a constant */
    SL_JINJA_PARAMETER,        /* of a macro: name=first, which may be NULL */
} sl_jinja_node_kind;

/* Of SL_JINJA_OPERAND. */
typedef enum {
    SL_JINJA_ADD,
    SL_JINJA_SUBTRACT,
    SL_JINJA_MULTIPLY,
    SL_JINJA_DIVIDE,
    SL_JINJA_FLOOR_DIVIDE,
    SL_JINJA_MODULO,
    SL_JINJA_POWER,
    SL_JINJA_EQUAL,
    SL_JINJA_NOT_EQUAL,
    SL_JINJA_LESS,
    SL_JINJA_LESS_EQUAL,
    SL_JINJA_GREATER,
    SL_JINJA_GREATER_EQUAL,
    SL_JINJA_IN,
    SL_JINJA_NOT_IN,
} sl_jinja_operation;

/* What the body of a macro mentions beside its parameters. */
enum { SL_JINJA_USES_CALLER = 1, SL_JINJA_USES_VARARGS = 2, SL_JINJA_USES_KWARGS = 4 };

typedef struct sl_jinja_node sl_jinja_node;
struct sl_jinja_node {
    sl_jinja_node_kind kind;
    uint32_t line;
    unsigned operation;
    sl_jinja_text name;
    sl_jinja_value constant;
    const sl_jinja_node *first, *second, *third, *fourth;
    const sl_jinja_node *items, *body, *other; /* each the first of a list along `next` */
    sl_jinja_node *next;
};

/* A compiled template. */
struct sl_jinja {
    sl_jinja_memory memory;
    const sl_jinja_node *body;
};

#endif
