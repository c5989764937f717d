//! The macro that declares the views of answers.

/// Declares a view and its conversion from the model: each field is the model's field of the same
/// name, or the stated value.
macro_rules! views {
    (@value $row:ident $field:ident) => { $row.$field };
    (@value $row:ident $field:ident $value:expr) => { $value };
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident from $model:ty as $row:ident {
            $($(#[$doc:meta])* $field_vis:vis $field:ident: $type:ty $(= $value:expr)?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(serde::Serialize, utoipa::ToSchema)]
        $vis struct $name {
            $($(#[$doc])* $field_vis $field: $type,)*
        }

        impl From<$model> for $name {
            fn from($row: $model) -> Self {
                Self { $($field: views!(@value $row $field $($value)?),)* }
            }
        }
    )*};
}
pub(super) use views;
