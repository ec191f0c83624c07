//! The standard traits for a type that holds a driver: each backend has a type of the specification's name.

/// Implements the standard traits for a type through the field of it that implements them:
/// `delegate_discovery!(EtcdDiscovery, discovery)`.
#[macro_export]
macro_rules! delegate_discovery {
    ($type:ty, $field:ident) => {
        impl ::rdb_net_types::Component for $type {
            fn initialize(&self) -> ::rdb_net_types::BoxFuture<'_, Result<(), ::rdb_net_types::NetworkError>> {
                self.$field.initialize()
            }

            fn shutdown(&self) -> ::rdb_net_types::BoxFuture<'_, Result<(), ::rdb_net_types::NetworkError>> {
                self.$field.shutdown()
            }

            fn health_check(&self) -> ::rdb_net_types::HealthStatus {
                self.$field.health_check()
            }
        }

        impl ::rdb_net_types::ServiceDiscovery for $type {
            fn register_node<'a>(
                &'a self,
                node: &'a ::rdb_net_types::NodeInfo,
            ) -> ::rdb_net_types::BoxFuture<'a, Result<(), ::rdb_net_types::NetworkError>> {
                self.$field.register_node(node)
            }

            fn discover_nodes(
                &self,
            ) -> ::rdb_net_types::BoxFuture<'_, Result<Vec<::rdb_net_types::NodeInfo>, ::rdb_net_types::NetworkError>>
            {
                self.$field.discover_nodes()
            }

            fn watch_changes(
                &self,
            ) -> ::rdb_net_types::BoxFuture<
                '_,
                Result<::rdb_net_types::BoxStream<::rdb_net_types::MembershipEvent>, ::rdb_net_types::NetworkError>,
            > {
                self.$field.watch_changes()
            }
        }

        impl ::rdb_discovery::DiscoverySource for $type {
            fn source_name(&self) -> &str {
                self.$field.source_name()
            }

            fn capabilities(&self) -> ::rdb_discovery::Capabilities {
                self.$field.capabilities()
            }

            fn snapshot(&self) -> ::rdb_discovery::Snapshot {
                self.$field.snapshot()
            }

            fn answered_ago(&self) -> Option<::std::time::Duration> {
                self.$field.answered_ago()
            }

            fn watch_events(&self) -> Result<::rdb_discovery::EventStream, ::rdb_net_types::NetworkError> {
                self.$field.watch_events()
            }

            fn registration(&self) -> Option<::rdb_discovery::RegistrationState> {
                self.$field.registration()
            }

            fn withdraw_node(
                &self,
                grace: ::std::time::Duration,
            ) -> ::rdb_net_types::BoxFuture<'_, Result<(), ::rdb_net_types::NetworkError>> {
                self.$field.withdraw_node(grace)
            }
        }
    };
}
