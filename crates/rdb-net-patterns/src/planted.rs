//! The bug that is planted in a machine, for a check that must find it. Without the feature `mutations` there is none, and whether it is
//! this one is a constant.

#[cfg(not(feature = "mutations"))]
use std::marker::PhantomData;

/// One of a machine's mutations, if any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planted<M> {
    #[cfg(feature = "mutations")]
    pub(crate) mutation: Option<M>,
    #[cfg(not(feature = "mutations"))]
    none: PhantomData<M>,
}

impl<M> Default for Planted<M> {
    fn default() -> Self {
        Self {
            #[cfg(feature = "mutations")]
            mutation: None,
            #[cfg(not(feature = "mutations"))]
            none: PhantomData,
        }
    }
}

impl<M: Copy + PartialEq> Planted<M> {
    #[cfg(feature = "mutations")]
    pub(crate) fn has(self, mutation: M) -> bool {
        self.mutation == Some(mutation)
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same question as with the feature")]
    pub(crate) fn has(self, _: M) -> bool {
        false
    }
}
